package node

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// overloadFor is how long nodes are overloaded; PYTASKS_TEST_OVERLOAD=60s makes it longer.
	overloadFor = 10 * time.Second
	// maxNodeMemory is the most that a node may take, overloaded or not.
	maxNodeMemory = 512 << 20
)

// memory returns the bytes of the process that are in memory, now and at most since its start.
func (p *process) memory() (now, peak int64) {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skipf("this system does not tell a process's memory: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &now)
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	return now << 10, peak << 10
}

// TestProcessOverload: clients ask for several times what three nodes can run. What is too
// much is refused with 429 and Retry-After, the nodes' memory stays bounded, and soon
// after the clients are gone a task is run at once.
func TestProcessOverload(t *testing.T) {
	duration := overloadFor
	if text := os.Getenv("PYTASKS_TEST_OVERLOAD"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	// 3 nodes of 8 slots run 240 tasks of 100 ms a second; the queue holds those of 2 s.
	ps := startCluster(t, 3, "--slots", "8", "--max-queued", "480")
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}
	var sent, taken, refused, unexpected atomic.Int64
	tick := time.NewTicker(time.Second / 2400)
	defer tick.Stop()
	stop := time.After(duration)
	work := make(chan struct{}, 2400)
	var clients sync.WaitGroup
	for c := range 600 {
		clients.Go(func() {
			for range work {
				resp, err := client.Post(ps[c%3].http+"/task", "application/json", strings.NewReader(sleepFor(100*time.Millisecond)))
				if err != nil {
					unexpected.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				switch {
				case resp.StatusCode == http.StatusOK:
					taken.Add(1)
				case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					unexpected.Add(1)
				}
			}
		})
	}
load:
	for {
		select {
		case <-tick.C:
			select {
			case work <- struct{}{}:
				sent.Add(1)
			default: // the clients are behind: this machine is the bound
			}
		case <-stop:
			break load
		}
	}
	close(work)
	clients.Wait()
	start := time.Now()
	eventually(t, 5*time.Second, "a task is run soon after the overload", func() error {
		a, err := send(ps[1], http.MethodPost, "/task?wait=5s", sleepFor(0))
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("got %v", a)
		}
		return err
	})
	t.Logf("%d sent in %v: %d taken, %d refused, %d others; recovered after %v", sent.Load(), duration, taken.Load(),
		refused.Load(), unexpected.Load(), time.Since(start).Round(time.Millisecond))
	if refused.Load() < taken.Load() || unexpected.Load() > sent.Load()/100 {
		t.Errorf("%d of %d refused with 429 and Retry-After, %d other answers, want most refused and hardly any others", refused.Load(), sent.Load(), unexpected.Load())
	}
	ps.checkMemory()
}

// TestProcessLargeBatches: many large batches at once do not take more memory than there is.
func TestProcessLargeBatches(t *testing.T) {
	ps := startCluster(t, 3)
	var batch bytes.Buffer
	batch.WriteString(`{"tasks":[`)
	for i := range 24 {
		if i > 0 {
			batch.WriteByte(',')
		}
		fmt.Fprintf(&batch, `{"type":"test.main.echo","args":{"value":"%s"},"delay":3600}`, strings.Repeat(string(rune('a'+i)), 500<<10))
	}
	batch.WriteString(`]}`)
	body := batch.String()
	var taken, later, others atomic.Int64
	atOnce(8, func(i int) {
		for range 3 {
			a, err := send(ps[i%3], http.MethodPost, "/tasks/batch", body)
			switch {
			case err == nil && a.status == http.StatusOK:
				taken.Add(1)
			case err == nil && a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
				later.Add(1)
			default:
				t.Errorf("got %v, %v", a, err)
				others.Add(1)
			}
		}
	})
	t.Logf("24 batches of 12 MiB: %d taken, %d later, %d others", taken.Load(), later.Load(), others.Load())
	if taken.Load() == 0 {
		t.Error("no batch was taken")
	}
	ps.checkMemory()
}

// TestProcessLargestTasks: tasks of the largest arguments and results there may be, sent, run and read
// at once, do not take more memory than there is.
func TestProcessLargestTasks(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "4")
	const around = len(`{"value":""}`)
	var done, later atomic.Int64
	atOnce(6, func(i int) {
		value := strings.Repeat(string(rune('a'+i)), (64<<20)-around)
		var id string
		eventually(t, 60*time.Second, "a large task is taken", func() error {
			a, err := send(ps[i%3], http.MethodPost, "/task", `{"type":"test.main.echo","args":{"value":"`+value+`"}}`)
			if err == nil && a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "" {
				later.Add(1)
			}
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%v", a)
			}
			id = member(a.body, "id")
			return err
		})
		p := ps[(i+1)%3]
		eventually(t, 60*time.Second, "it is run", func() error {
			resp, err := testHTTP.Get(p.http + "/task/" + id + "?wait=20s")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			if err == nil && n < 2*int64(len(value)) {
				err = fmt.Errorf("%d, and %d bytes", resp.StatusCode, n)
			}
			return err
		})
		done.Add(1)
	})
	t.Logf("6 tasks of 64 MiB, twice: %d done, %d times told to come later", done.Load(), later.Load())
	ps.checkMemory()
}

func (ps processes) checkMemory() {
	t := ps[0].t
	t.Helper()
	for _, p := range ps {
		now, peak := p.memory()
		t.Logf("%s: %d MiB now, %d MiB at most", p.name, now>>20, peak>>20)
		if peak > maxNodeMemory && !raceDetected() { // which takes several times as much
			t.Errorf("%s took %d MiB, want at most %d", p.name, peak>>20, maxNodeMemory>>20)
		}
	}
}
