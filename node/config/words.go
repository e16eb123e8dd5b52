package config

import (
	"fmt"
	"strings"
	"time"
)

// ShortDuration is d without the zeros that time.Duration writes: 24h, 1m30s.
func ShortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// RoundSize is a number of bytes for people.
func RoundSize(n int64) string {
	for _, u := range SizeUnits() {
		if n >= 10*u.Bytes && u.Bytes&(u.Bytes-1) == 0 {
			return fmt.Sprintf("%d %s", n/u.Bytes, u.Name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// DidYouMean proposes the candidate that is nearest to a word that is unknown, as the end of a
// sentence; nothing if none is near.
func DidYouMean(word string, candidates []string) string {
	best := nearest(word, candidates)
	if best == "" || !strings.Contains(best, word) && editDistance(word, best) > 1+len(word)/3 {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// nearest is the candidate that takes the fewest changed letters to become word, or ""
// if there is none.
func nearest(word string, candidates []string) string {
	best, fewest := "", -1
	for _, c := range candidates {
		if n := editDistance(word, c); fewest < 0 || n < fewest {
			best, fewest = c, n
		}
	}
	return best
}

// editDistance is Levenshtein's: insertions, deletions and substitutions.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
