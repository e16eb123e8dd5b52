package history

// rank says how far a record has come. A task passes its ranks upwards only:
//
//	no such task    -1
//	SCHEDULED        0  of attempt 0: waits for its time
//	STARTED          0  + 4 * attempt
//	RETRY            1  + 4 * attempt: failed, waits for its time
//	PENDING          2  + 4 * attempt: waits for a node, for the first time or again
//	SUCCESS ...      3  + 4 * attempt: the end
func (r *Record) rank() int {
	base := 4 * r.Attempt
	switch r.Status {
	case Absent:
		return -1
	case "SCHEDULED", "STARTED":
		return base
	case "RETRY":
		return base + 1
	case "PENDING":
		return base + 2
	}
	return base + 3
}
