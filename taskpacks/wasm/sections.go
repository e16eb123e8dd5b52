package wasm

import "encoding/binary"

// Of the binary format of modules, https://webassembly.github.io/spec/core/binary/modules.html
const (
	preamble         = 8 // bytes before the first section
	tableSection     = 4
	dataSection      = 11
	dataCountSection = 12
)

// sectionAt is where a section of a module is: it begins with its id and the size of its content.
type sectionAt struct{ begin, from, end int }

// findSection returns where the first section of an id is. In a text that is no module it finds none, or what is not one: the
// compiler says better what is wrong with it.
func findSection(module []byte, id byte) (at sectionAt, found bool) {
	for begin := preamble; begin < len(module); {
		size, n := binary.Uvarint(module[begin+1:])
		from := begin + 1 + n
		if n <= 0 || size > uint64(len(module)-from) {
			break
		}
		end := from + int(size)
		if module[begin] == id {
			return sectionAt{begin, from, end}, true
		}
		begin = end
	}
	return sectionAt{}, false
}

func (at sectionAt) content(module []byte) []byte { return module[at.from:at.end] }

// replace returns the module with another content of the section.
func (at sectionAt) replace(module, content []byte) []byte {
	whole := make([]byte, 0, len(module)+len(content))
	whole = append(whole, module[:at.begin+1]...)
	whole = binary.AppendUvarint(whole, uint64(len(content)))
	whole = append(whole, content...)
	return append(whole, module[at.end:]...)
}
