// Package chaos breaks clusters of real nodes: processes of the program, each on a host of its own, with disks, a network
// that can be cut, and REST clients that write down what they were answered. After every fault the cluster has to be whole
// again within the time that is promised, and everything that the clients and the tasks wrote down has to fit together.
//
// A host is a network namespace and a mount namespace of a thread of the test's own, and everything that runs there ends
// with that thread: nothing is left behind, however the test ends. Hosts have addresses 127.77.0.n, as a node without a
// cluster secret takes no others; what is 127/8 beside 127.0.0.1 goes over the wire there. It takes root.
//
// TestSmoke is a short run of the most important faults. TestMatrix, with -chaos, runs every fault of the matrix and
// writes its table; TestSoak, with -soak, watches memory, goroutines and descriptors for as long as it is told. Start
// reading at rows_test.go, which lists the faults, then run_test.go, which is what happens around each of them.
package chaos
