package history

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// settlers is how many clients read at the end, for each node.
	settlers = 4
	// pageSize is how many tasks a page of a list holds.
	pageSize = 500
)

// Settle reads every id that a client heard of at every node, until it is final there, and
// once more as that node has it by itself; then it lists the tasks of each node. It begins
// with a list too, to hear of tasks whose submit got no answer. It is for a cluster that is
// whole again. The error says what did not come in time: then the history does not have
// the end that the checks ask for.
func (w *Workload) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.SettleIn)
	defer cancel()
	if listed, ok := w.newWorker().list(ctx, w.cfg.Nodes[0], w.cfg.Name); ok {
		w.book.add(listed)
	}
	ids := w.book.all()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		missed []string
	)
	for _, n := range w.cfg.Nodes {
		work := make(chan string, len(ids))
		for _, id := range ids {
			work <- id
		}
		close(work)
		var readers sync.WaitGroup
		for range settlers {
			k := w.newWorker()
			readers.Go(func() {
				for id := range work {
					if !k.settle(ctx, n, id) {
						mu.Lock()
						missed = append(missed, n.Name+"/"+id)
						mu.Unlock()
					}
				}
			})
		}
		k := w.newWorker()
		wg.Go(func() {
			readers.Wait()
			if _, ok := k.list(ctx, n, w.cfg.Name); !ok {
				mu.Lock()
				missed = append(missed, n.Name+"/list")
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(missed) > 0 {
		return fmt.Errorf("settle: %d reads did not come to an end within %s, such as %s",
			len(missed), w.cfg.SettleIn, strings.Join(missed[:min(5, len(missed))], ", "))
	}
	return nil
}

// settle reads a task at a node until it is final or known to be absent.
func (k *worker) settle(ctx context.Context, n Node, id string) bool {
	for wait := 20 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		op, a := k.read(ctx, n, id, Linearizable, 0)
		if op.Outcome == OK && (op.Record.Final() || op.Record.Status == Absent) {
			k.read(ctx, n, id, Stale, 0)
			return true
		}
		pause(ctx, max(wait, a.pause))
	}
	return false
}

// list records which tasks of the workload a node lists.
func (k *worker) list(ctx context.Context, n Node, name string) (listed []Listed, ok bool) {
	for wait := 100 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		op := k.begin(List, n)
		op.Consistency = Linearizable
		var a answer
		listed, a, ok = k.pages(ctx, n, name)
		if op.Outcome = Unknown; ok {
			op.Outcome, op.Listed = OK, listed
		}
		if k.end(&op, a); ok {
			return listed, true
		}
		pause(ctx, max(wait, a.pause))
	}
	return nil, false
}

// pages reads one page after another.
func (k *worker) pages(ctx context.Context, n Node, name string) (listed []Listed, a answer, ok bool) {
	for cursor := ""; ; {
		q := url.Values{"limit": {strconv.Itoa(pageSize)}, "consistency": {Linearizable}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		a = k.do(ctx, http.MethodGet, n.URL+"/task?"+q.Encode(), nil, "")
		if a.status != http.StatusOK {
			return nil, a, false
		}
		var page struct {
			Items []struct {
				ID   string
				Tags []string
			}
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, a, false
		}
		for _, item := range page.Items {
			for _, tag := range item.Tags {
				number, ours := strings.CutPrefix(tag, name+":")
				if i, err := strconv.Atoi(number); ours && err == nil {
					listed = append(listed, Listed{ID: item.ID, N: i})
				}
			}
		}
		if cursor = page.Next; cursor == "" {
			return listed, a, true
		}
	}
}
