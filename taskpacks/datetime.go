package taskpacks

// isDatetime reports whether the JSON value v is a string that holds a date, or a date and a time of day, as RFC 3339 writes
// them: 2024-02-29, 2024-02-29T12:00:00, 2024-02-29 12:00:00.5+01:00, 2024-02-29T12:00:00Z. What Python's datetime cannot
// hold is refused: the year 0, leap seconds.
func isDatetime(v []byte) bool {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return false
	}
	d := digits{rest: v[1 : len(v)-1]}
	if !plain(d.rest) {
		d.rest = []byte(unescape(d.rest))
	}
	year := d.number(4, 1, 9999)
	d.mark("-")
	month := d.number(2, 1, 12)
	d.mark("-")
	d.number(2, 1, daysIn(year, month))
	if d.bad || len(d.rest) == 0 {
		return !d.bad
	}
	d.mark("T ")
	d.number(2, 0, 23)
	d.mark(":")
	d.number(2, 0, 59)
	d.mark(":")
	d.number(2, 0, 59)
	if d.next('.') {
		d.mark("0123456789")
		for len(d.rest) > 0 && '0' <= d.rest[0] && d.rest[0] <= '9' {
			d.rest = d.rest[1:]
		}
	}
	if !d.bad && len(d.rest) > 0 && !d.next('Z') {
		d.mark("+-")
		d.number(2, 0, 23)
		d.mark(":")
		d.number(2, 0, 59)
	}
	return !d.bad && len(d.rest) == 0
}

// daysIn returns how many days a month of the Gregorian calendar has.
func daysIn(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	}
	return 31
}

// digits reads numbers of fixed width and marks between them. After the first that is not there everything is bad.
type digits struct {
	rest []byte
	bad  bool
}

// number reads width digits that make a number from low to high.
func (d *digits) number(width, low, high int) int {
	if len(d.rest) < width {
		d.bad = true
		return 0
	}
	n := 0
	for _, c := range d.rest[:width] {
		d.bad = d.bad || c < '0' || c > '9'
		n = 10*n + int(c-'0')
	}
	d.rest = d.rest[width:]
	d.bad = d.bad || n < low || n > high
	return n
}

// mark reads one of the bytes in set.
func (d *digits) mark(set string) {
	for i := range len(set) {
		if d.next(set[i]) {
			return
		}
	}
	d.bad = true
}

// next reads c if it comes next.
func (d *digits) next(c byte) bool {
	if len(d.rest) == 0 || d.rest[0] != c {
		return false
	}
	d.rest = d.rest[1:]
	return true
}
