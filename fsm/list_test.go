package fsm

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// pages lists with a filter, page after page, and calls between after each.
func (m *machine) pages(f Filter, between func()) (got []Key, pages int) {
	m.t.Helper()
	for {
		page, err := m.List(f)
		if err != nil {
			m.t.Fatalf("List(%+v): %v", f, err)
		}
		pages++
		if f.Limit > 0 && len(page.Tasks) > f.Limit {
			m.t.Fatalf("List(%+v) gave %d tasks", f, len(page.Tasks))
		}
		for _, t := range page.Tasks {
			got = append(got, Key(t.Key))
		}
		if page.Next == "" {
			return got, pages
		}
		f.Cursor = page.Next
		between()
	}
}

// TestListFilters lists one task of each status, 1 to 7 in the order of their
// numbers, by every filter.
func TestListFilters(t *testing.T) {
	m := newCluster(t)
	m.ok(
		submit(task(int(Status_SCHEDULED), delayed(1000))),
		submit(task(int(Status_PENDING), tagged("a", "b"))),
		submit(task(int(Status_STARTED), at(place(1, 1)), typed("p.g"))),
		submit(task(int(Status_RETRY), at(place(1, 1)), attempts(2))), fail(k(int(Status_RETRY)), 1),
		submit(task(int(Status_SUCCESS), at(place(1, 1)), typed("p.g"), tagged("b"))), finish(k(int(Status_SUCCESS)), 1, `1`),
		submit(task(int(Status_FAILURE), at(place(1, 1)), tagged("a"))), fail(k(int(Status_FAILURE)), 1),
		submit(task(int(Status_REVOKED), typed("p.h"), named("mine"))), cancel("mine"),
	)
	tests := []struct {
		f    Filter
		want []int
	}{
		{Filter{}, []int{7, 6, 5, 4, 3, 2, 1}},
		{Filter{Type: "p.g"}, []int{5, 3}},
		{Filter{Tag: "b"}, []int{5, 2}},
		{Filter{Tag: "a", Status: Status_FAILURE}, []int{6}},
		{Filter{Type: "p.g", Tag: "b", Status: Status_SUCCESS}, []int{5}},
		{Filter{Type: "p"}, nil},
		{Filter{Tag: "a", Status: Status_SUCCESS}, nil},
	}
	for s := Status_SCHEDULED; s <= Status_REVOKED; s++ {
		tests = append(tests, struct {
			f    Filter
			want []int
		}{Filter{Status: s}, []int{int(s)}})
	}
	for _, tt := range tests {
		for _, limit := range []int{0, 1, 2, 7, 100} {
			t.Run(fmt.Sprintf("%v,%s,%s,%d", tt.f.Status, tt.f.Type, tt.f.Tag, limit), func(t *testing.T) {
				f := tt.f
				f.Limit = limit
				got, pages := m.pages(f, func() {})
				want := make([]Key, 0, len(tt.want))
				for _, i := range tt.want {
					want = append(want, k(i))
				}
				if !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if limit >= 7 && pages != 1 {
					t.Errorf("%d pages, want 1", pages)
				}
			})
		}
	}
}

// TestListPages walks many tasks, finished and not in turns, newest first, while
// some finish and new ones come: what was there at the beginning comes once.
func TestListPages(t *testing.T) {
	m := newCluster(t)
	const n = 500
	for i := range n {
		m.ok(submit(task(i, at(place(1, 1)))))
		if i%3 == 0 {
			m.ok(finish(k(i), 1, `1`))
		}
	}
	next := n
	got, _ := m.pages(Filter{Limit: 7}, func() {
		m.do(submit(task(next)), cancel(k(next-n).String()), cancel(k(n-(next-n)).String()))
		next++
	})
	var want []Key
	for i := n - 1; i >= 0; i-- {
		want = append(want, k(i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d tasks, want %d, newest first, each once", len(got), n)
	}
}

// TestListDefault checks the limit that applies where none is given.
func TestListDefault(t *testing.T) {
	m := newMachine(t)
	for i := range 60 {
		m.ok(submit(task(i)))
	}
	page, err := m.List(Filter{})
	if err != nil || len(page.Tasks) != 50 || page.Next == "" {
		t.Errorf("a page of %d tasks, next %q, %v; want 50 and more", len(page.Tasks), page.Next, err)
	}
}

// TestListCursor checks cursors that were not given out, and one whose task has
// been forgotten.
func TestListCursor(t *testing.T) {
	m := finishedTasks(t, 4)
	tests := []string{"x", "!!", base64.RawURLEncoding.EncodeToString(make([]byte, 15)), base64.RawURLEncoding.EncodeToString(make([]byte, 17)), k(1).String()}
	for _, cursor := range tests {
		if page, err := m.List(Filter{Cursor: cursor}); !errors.Is(err, ErrBadCursor) {
			t.Errorf("List with cursor %q = %v, %v; want %v", cursor, page, err, ErrBadCursor)
		}
	}
	first, err := m.List(Filter{Limit: 3}) // 5, 4, 3
	if err != nil {
		t.Fatal(err)
	}
	p := forgetNothing()
	p.MaxCount, p.Limit = 0, 3 // 1, 2, 3
	m.ok(submit(task(0)), purge(p))
	rest, err := m.List(Filter{Limit: 3, Cursor: first.Next})
	if err != nil || len(rest.Tasks) != 1 || Key(rest.Tasks[0].Key) != k(0) || rest.Next != "" {
		t.Errorf("behind a task that was forgotten: %v, next %q, %v; want task 0 alone", rest.Tasks, rest.Next, err)
	}
}

// TestListFailed checks that the few that failed are found among many that did
// not, without looking at those.
func TestListFailed(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(0, at(place(1, 1)))), fail(k(0), 1))
	for first := 1; first <= maxScan; first += 1000 {
		var many []*New
		var cmds []*Command
		for i := first; i < first+1000; i++ {
			many = append(many, task(i, at(place(1, 1))))
			cmds = append(cmds, finish(k(i), 1, `1`))
		}
		m.ok(submit(many...))
		m.do(cmds...)
	}
	page, err := m.List(Filter{Status: Status_FAILURE})
	if err != nil || len(page.Tasks) != 1 || page.Next != "" {
		t.Errorf("a page of %d tasks, next %q, %v; want the one that failed and no more", len(page.Tasks), page.Next, err)
	}
}

// TestListMaxScan checks that a filter which fits few of many tasks gives an
// empty page and a cursor that leads on.
func TestListMaxScan(t *testing.T) {
	m := newMachine(t)
	many := []*New{task(0, typed("p.rare"))}
	for i := 1; i <= maxScan+10; i++ {
		many = append(many, task(i))
	}
	m.ok(submit(many...))
	f := Filter{Type: "p.rare"}
	page, err := m.List(f)
	if err != nil || len(page.Tasks) != 0 || page.Next == "" {
		t.Fatalf("the first page has %d tasks, next %q, %v; want none and more", len(page.Tasks), page.Next, err)
	}
	f.Cursor = page.Next
	page, err = m.List(f)
	if err != nil || len(page.Tasks) != 1 || page.Next != "" {
		t.Errorf("the second page has %d tasks, next %q, %v; want one and no more", len(page.Tasks), page.Next, err)
	}
}
