// Package history keeps a cluster busy as clients do, writes down what they asked and were
// answered, and judges that against what the cluster promises. The harnesses that break
// things share it: a simulation in one process, and real processes that are killed.
//
//	rec := history.NewRecorder(time.Now)
//	load, err := history.NewWorkload(history.Config{Nodes: nodes, Recorder: rec, Seed: seed})
//	load.Run(ctx)          // meanwhile break things, and note Down for each process that ends
//	err = load.Settle(ctx) // after all is whole again
//	entries, err := history.ReadJournal(paths...)
//	report := history.Check(rec.History(), entries, history.Options{Faults: n})
//
// Nodes run the funcs of Pack, which write journals; the program chaosnode has them. One
// workload uses a cluster and its journals, and its tasks are kept for longer than it runs.
// It speaks to the REST API alone and knows nothing of how nodes work.
//
// # What is checked
//
// By the numbers of the invariants that they hold:
//
//	I1, I11  checkAcked      every acknowledged task is final at every node in the end
//	I1, I6   checkLists      every node lists each of them once, batches whole, nothing else
//	I1, I3   checkEnds       results are right, failures and lost nodes counted as agreed
//	I2, I3   checkFinal      all reads of a final record agree, byte for byte
//	I2       checkOwnState   what a node's own state has shown it does not forget
//	I1       checkDenied     by default no node denies a task that is known to be there
//	I7       checkOrder      an order of operations explains all linearizable answers
//	I6       checkKeys       an Idempotency-Key, or an id, stands for one thing
//	I4, I10  checkRuns       no attempt runs twice, nor after the last one; numbers grow
//	I3       checkCommitted  what is recorded of an attempt is what it did
//	         checkStopped    code does not go on for long after its task's end
//	         checkLoad       enough happened to prove something
//
// A final record is final in every read, but a default or stale read may show an unfinished
// record after another read, or another node, has shown the final one: checkOwnState says
// which reads may not. checkOrder knows a linearizable read as the task is at that moment,
// any other as it was then or before. An unknown write may take effect at any later time, or
// never, and a refused one must not.
//
// # What is not checked
//
// What goes on inside: one assignment at a time, load, equal states, resources (I5, I8, I9,
// I12). Order across tasks: priorities, delays kept, fairness. How long things take, beside
// the bound of Settle. Lists before the end. Which answer a wait gives when its time is up.
// Answers carry no index of the state behind them, so reads of different tasks are not
// compared. Checks that compare journals with clients trust one clock for both.
//
// Start reading with op.go, then writer.go for what clients do and model.go for what a task
// may do; each check is a function of its own.
package history
