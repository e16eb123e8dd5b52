package httpapi

// maxNear is the longest name that is looked at, in bytes.
const maxNear = 16

// near returns the one of names, of up to maxNear small letters, that a name which is not known is likely to mean, "" if none:
// written in capitals, or with as few slips as nobody makes on purpose. Short names have too many neighbours that mean something of
// their own: of those with four letters only a letter that is left out, too many or swapped with the next counts, of shorter ones
// none. It costs less than reading the name did, as a body may be full of such.
func near(name []byte, names ...string) string {
	if len(name) > maxNear {
		return ""
	}
	var room [maxNear]byte
	lower := room[:len(name)]
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	for _, known := range names {
		if n := len(known); n-len(lower) > 2 || len(lower)-n > 2 {
			continue
		} else if slips, changed := distance(lower, known); slips == 0 || n >= 6 && slips <= 2 || n == 5 && slips == 1 || n == 4 && slips == 1 && !changed {
			return known
		}
	}
	return ""
}

// distance counts the letters to be left out, put in, changed or swapped with the next to make b of a (the optimal string alignment
// of Damerau and Levenshtein). changed says of a distance of 1 whether it is a changed letter. Both have maxNear letters at most.
func distance(a []byte, b string) (slips int, changed bool) {
	var rows [maxNear + 1][maxNear + 1]uint8
	for i := range len(a) + 1 {
		rows[i][0] = uint8(i)
	}
	for j := range len(b) + 1 {
		rows[0][j] = uint8(j)
	}
	differ := 0
	for i := 1; i <= len(a); i++ {
		if i <= len(b) && a[i-1] != b[i-1] {
			differ++
		}
		for j := 1; j <= len(b); j++ {
			cost := uint8(1)
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return int(rows[len(a)][len(b)]), len(a) == len(b) && differ == 1
}

// hint says beside a problem what a name that is not known was likely to mean.
func (p *problem) hint(s *slip) *problem {
	if s != nil {
		p.detail = s.String()
	}
	return p
}

// String says what was likely to be meant.
func (s *slip) String() string {
	return string(s.name) + " is not known here: did you mean " + s.meant + "?"
}

// slipOf is the slip that a name is, nil = it is none.
func slipOf(name []byte, names ...string) *slip {
	if meant := near(name, names...); meant != "" {
		return &slip{name, meant}
	}
	return nil
}
