package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxTable bounds the elements of a module's tables, together. Tables are in the node's own memory, 8 bytes an element, and a module
// that may let them grow without end could take all of it.
const maxTable = 1 << 20

const (
	funcRef   = 0x70
	externRef = 0x6f
)

// boundTables returns the module with a maximum for each of its tables.
func boundTables(module []byte) ([]byte, error) {
	at, found := findSection(module, tableSection)
	if !found {
		return module, nil
	}
	tables, err := bounded(at.content(module))
	if err != nil {
		return nil, err
	}
	return at.replace(module, tables), nil
}

// bounded returns the content of a table section with all maxima set.
func bounded(section []byte) ([]byte, error) {
	count, section := number(section)
	if count == 0 || count > maxTable {
		return nil, fmt.Errorf("it has a section of %d tables", count)
	}
	share := maxTable / count // of the elements, for each table
	out := binary.AppendUvarint(nil, count)
	for range count {
		if len(section) < 2 || section[0] != funcRef && section[0] != externRef || section[1] > 1 {
			return nil, errors.New("it has a table of a kind that is not known here: use funcref or externref, and no initial value")
		}
		kind, hasMost, least, most := section[0], section[1] == 1, uint64(0), share
		least, section = number(section[2:])
		if hasMost {
			most, section = number(section)
		}
		if least > share {
			return nil, fmt.Errorf("it has a table of %d elements, %d at most", least, share)
		}
		out = append(out, kind, 1)
		out = binary.AppendUvarint(out, least)
		out = binary.AppendUvarint(out, min(most, share))
	}
	return out, nil
}

// number reads an unsigned number, 0 where there is none.
func number(from []byte) (v uint64, rest []byte) {
	v, n := binary.Uvarint(from)
	return v, from[max(0, n):]
}
