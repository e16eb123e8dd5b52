package wasm

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// maxGap is how many zeros are written so that two segments of data become one, in bytes.
const maxGap = 64

// The parts of a data segment that is for an address known beforehand.
const (
	plainSegment = 0
	constant     = 0x41 // i32.const
	constantEnd  = 0x0b
)

// segment is what a module's memory holds from an address on when a call begins.
type segment struct {
	addr uint32
	data []byte
}

// joinData returns the module with those data segments made one that are close to each other. Go's linker makes tens of thousands,
// to leave out a few zeros each, and to set them one by one would be half of what a call costs. The memory is the same: it is fresh
// for each call, and modules whose segments overlap stay as they are, as do those that the code copies itself.
func joinData(module []byte) []byte {
	at, found := findSection(module, dataSection)
	if _, counted := findSection(module, dataCountSection); !found || counted {
		return module
	}
	content := at.content(module)
	segments, ok := readSegments(content)
	if ok {
		segments, ok = joined(segments, len(content))
	}
	if !ok {
		return module
	}
	return at.replace(module, writeSegments(segments))
}

// readSegments reads a data section; false if there is more in it than plain segments.
func readSegments(content []byte) (all []segment, ok bool) {
	count, content := number(content)
	for range count {
		if len(content) < 2 || content[0] != plainSegment || content[1] != constant {
			return nil, false
		}
		addr, n := signedNumber(content[2:])
		content = content[2+n:]
		if n == 0 || len(content) == 0 || content[0] != constantEnd {
			return nil, false
		}
		size, n := binary.Uvarint(content[1:])
		if n <= 0 || size > uint64(len(content)-1-n) {
			return nil, false
		}
		content = content[1+n:]
		all = append(all, segment{uint32(addr), content[:size]})
		content = content[size:]
	}
	return all, len(content) == 0
}

// joined sorts segments and makes one of neighbours; false if two overlap. spare is for how many zeros there is room.
func joined(all []segment, spare int) (out []segment, ok bool) {
	slices.SortStableFunc(all, func(a, b segment) int { return cmp.Compare(a.addr, b.addr) })
	end := uint64(0)
	for _, s := range all {
		if uint64(s.addr) < end {
			return nil, false
		}
		gap := uint64(s.addr) - end
		if last := len(out) - 1; last >= 0 && gap <= uint64(min(maxGap, spare)) {
			spare -= int(gap)
			out[last].data = append(append(out[last].data, make([]byte, gap)...), s.data...)
		} else {
			out = append(out, segment{s.addr, slices.Clip(s.data)}) // what is behind it is the module's
		}
		end = uint64(s.addr) + uint64(len(s.data))
	}
	return out, true
}

func writeSegments(all []segment) []byte {
	out := binary.AppendUvarint(nil, uint64(len(all)))
	for _, s := range all {
		out = appendSigned(append(out, plainSegment, constant), int32(s.addr))
		out = binary.AppendUvarint(append(out, constantEnd), uint64(len(s.data)))
		out = append(out, s.data...)
	}
	return out
}

// signedNumber reads an i32, and how many bytes it has; 0 if it is none.
func signedNumber(from []byte) (v int32, n int) {
	for i, b := range from[:min(5, len(from))] {
		v |= int32(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			if b&0x40 != 0 && i < 4 {
				v |= -1 << (7 * (i + 1))
			}
			return v, i + 1
		}
	}
	return 0, 0
}

func appendSigned(b []byte, v int32) []byte {
	for v < -0x40 || v > 0x3f {
		b = append(b, byte(v&0x7f)|0x80)
		v >>= 7
	}
	return append(b, byte(v&0x7f))
}
