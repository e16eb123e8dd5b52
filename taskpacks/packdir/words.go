package packdir

import (
	"errors"
	"strings"
	"unicode"

	"pytasks/taskpacks/python"
)

// Traceback returns the traceback of a pack that cannot be imported.
func Traceback(err error) string {
	var imported *python.ImportError
	if errors.As(err, &imported) {
		return imported.Traceback
	}
	return ""
}

// NameOf makes a pack's name of an archive's folder: "pytasks-physicsjs-master" is
// what a code host calls pytasks-physicsjs.
func NameOf(folder string) string {
	for _, suffix := range []string{"-master", "-main"} {
		folder = strings.TrimSuffix(folder, suffix)
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || unicode.IsLetter(r) && r < unicode.MaxASCII || unicode.IsDigit(r) && r < unicode.MaxASCII {
			return r
		}
		return '_'
	}, folder)
}
