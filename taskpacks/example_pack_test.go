package taskpacks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"pytasks/taskpacks"
)

// wordsPack would be words.Pack, the one exported name of a package words. A node with it is this program:
//
//	func main() { node.Main(test.Pack, words.Pack) }
var wordsPack = taskpacks.Pack{Name: "words", Version: "1.0", Funcs: []taskpacks.Func{
	taskpacks.Define("words.main.count", countWords,
		taskpacks.Doc("How often each word is in the lines."), taskpacks.Timeout(time.Minute), taskpacks.MaxAttempts(3)),
}}

type wordsIn struct {
	Lines []string `json:"lines"`
	Least int      `json:"least" default:"1"` // what is there less often is left out
}

func countWords(ctx context.Context, in wordsIn) (map[string]int, error) {
	if in.Least < 1 {
		return nil, taskpacks.Permanent(errors.New("least: use 1 or more")) // trying again would not help
	}
	counts := map[string]int{}
	for i, line := range in.Lines {
		if err := ctx.Err(); err != nil {
			return nil, err // revoked, or out of time
		}
		if line == "" {
			fmt.Fprintf(taskpacks.Log(ctx), "line %d is empty\n", i+1)
		}
		for _, word := range strings.Fields(line) {
			counts[strings.ToLower(word)]++
		}
		taskpacks.Progress(ctx, float64(i+1)/float64(len(in.Lines)), fmt.Sprintf("%d words", len(counts)))
	}
	for word, n := range counts {
		if n < in.Least {
			delete(counts, word)
		}
	}
	return counts, nil
}

// A whole pack in Go, and how a test of it may look: through a registry, as a node calls it.
func Example_pack() {
	registry, err := taskpacks.NewRegistry(wordsPack)
	if err != nil {
		fmt.Println(err)
		return
	}
	count, _ := registry.Func("words.main.count")
	ctx := taskpacks.WithCall(context.Background(), taskpacks.Call{
		ID: "0190a1b2-0000-7000-8000-000000000000", Attempt: 1, Node: "here",
		Log:      os.Stdout,
		Progress: func(fraction float64, text string) { fmt.Printf("%.0f%%: %s\n", 100*fraction, text) },
	})
	result, err := count.Call(ctx, json.RawMessage(`{"lines": ["to be or not to be", "", "that is"], "least": 2}`))
	fmt.Println(string(result), err)
	_, err = count.Call(ctx, json.RawMessage(`{"lines": [], "least": 0}`))
	fmt.Println(err, taskpacks.IsPermanent(err))
	// Output:
	// 33%: 4 words
	// line 2 is empty
	// 67%: 4 words
	// 100%: 6 words
	// {"be":2,"to":2} <nil>
	// least: use 1 or more true
}
