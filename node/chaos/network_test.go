//go:build linux

package chaos

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// needsRoot skips a test that cannot make namespaces here; as root it installs what is missing.
func needsRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	if os.Geteuid() != 0 {
		t.Skip("hosts are network namespaces, which take root")
	}
	for tool, pack := range map[string]string{"ip": "iproute2", "iptables": "iptables"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), "apt-get", "install", "-y", pack).CombinedOutput(); err != nil {
			t.Skipf("%s is missing, and apt-get install %s says: %v: %s", tool, pack, err, out)
		}
	}
	s, err := newSpace()
	if err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	s.close()
}

func testNetwork(t *testing.T, hosts int) *network {
	t.Helper()
	needsRoot(t)
	n, err := newNetwork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	for range hosts {
		if _, err := n.addHost(); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestNetwork: hosts reach each other and can be cut off, one way, both ways and by the cable; a client beside a host
// reaches it all the same.
func TestNetwork(t *testing.T) {
	n := testNetwork(t, 3)
	for _, h := range n.hosts {
		var l net.Listener
		check(t, h.do(func() (err error) { l, err = net.Listen("tcp", h.ip+":80"); return err }))
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
	}
	reaches := func(from, to *host) bool {
		err := from.visit(func() error {
			conn, err := net.DialTimeout("tcp", to.ip+":80", 200*time.Millisecond)
			if err == nil {
				conn.Close()
			}
			return err
		})
		var timeout net.Error
		if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
			t.Errorf("%s to %s: got %v, want silence", from.ip, to.ip, err)
		}
		return err == nil
	}
	a, b, c := n.hosts[0], n.hosts[1], n.hosts[2]
	want := func(when string, pairs map[[2]*host]bool) {
		t.Helper()
		for pair, want := range pairs {
			if got := reaches(pair[0], pair[1]); got != want {
				t.Errorf("%s: %s reaches %s: got %t, want %t", when, pair[0].ip, pair[1].ip, got, want)
			}
		}
	}
	all := map[[2]*host]bool{{a, a}: true, {a, b}: true, {b, c}: true, {c, a}: true}
	want("at first", all)
	check(t, n.split(a))
	want("a alone", map[[2]*host]bool{{a, a}: true, {a, b}: false, {c, a}: false, {b, c}: true})
	check(t, n.heal())
	want("a back", all)
	check(t, n.unplug(b))
	want("b unplugged", map[[2]*host]bool{{b, b}: true, {a, b}: false, {b, c}: false, {c, a}: true})
	check(t, n.heal())
	for deadline := time.Now().Add(5 * time.Second); !(reaches(b, c) && reaches(a, b)); { // a port needs a moment
		if time.Now().After(deadline) {
			t.Fatal("b is not reached within 5 s after its cable was plugged in")
		}
	}
	check(t, n.cut(a, c))
	want("a to c cut", map[[2]*host]bool{{a, b}: true, {a, c}: false, {c, b}: true, {c, c}: true})
	check(t, n.heal())
	want("healed", all)
}
