// Command example is a WASM pack in Go: it tells what a list of numbers looks like. package.json describes it.
//
// It is an ordinary program, so it runs without a node too:
//
//	echo '{"values": [1, 2, 3, 4]}' | go run . example summary
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
)

// exitFailed ends a task that trying again would not mend; 75, EX_TEMPFAIL, one that it may.
const exitFailed = 1

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err) // into the task's log, and the end of it into its error
		os.Exit(exitFailed)
	}
}

// run serves all tasks of the pack: the first argument of the program says which.
func run() error {
	var in struct {
		Values []float64 `json:"values"`
		Digits int       `json:"digits"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return fmt.Errorf("read the arguments: %w", err)
	}
	if len(in.Values) == 0 {
		return fmt.Errorf("values is empty: pass one number at least")
	}
	switch task := os.Args[1]; task {
	case "summary":
		return json.NewEncoder(os.Stdout).Encode(summaryOf(in.Values))
	case "sentence":
		s := summaryOf(in.Values)
		_, err := fmt.Printf("%d values from %.*f to %.*f\n", s.Count, in.Digits, s.Least, in.Digits, s.Greatest)
		return err
	default:
		return fmt.Errorf("no task %s in this module", task)
	}
}

type summary struct {
	Count    int     `json:"count"`
	Least    float64 `json:"least"`
	Greatest float64 `json:"greatest"`
	Mean     float64 `json:"mean"`
	Spread   float64 `json:"spread"` // the standard deviation
}

func summaryOf(values []float64) summary {
	s := summary{Count: len(values), Least: slices.Min(values), Greatest: slices.Max(values)}
	for _, v := range values {
		s.Mean += v / float64(s.Count)
	}
	for _, v := range values {
		s.Spread += (v - s.Mean) * (v - s.Mean) / float64(s.Count)
	}
	s.Spread = math.Sqrt(s.Spread)
	return s
}
