package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// refused checks that an archive is refused by an *Error that names the entry, and that nothing of it stays.
func refused(t *testing.T, data []byte, l Limits, entry, reason string) {
	t.Helper()
	got, root, err := unpack(t, data, l)
	refusal := (*Error)(nil)
	if !errors.As(err, &refusal) || refusal.Entry != entry || !strings.Contains(err.Error(), reason) {
		t.Errorf("Unpack = %q, %v; want an *Error for entry %q with %q in it", root, err, entry, reason)
	}
	if len(got) > 0 {
		t.Errorf("Unpack = %v, and leaves %q", err, got)
	}
}

// refusedBoth does so with a zip and a tar.gz of items.
func refusedBoth(t *testing.T, entry, reason string, items ...item) {
	t.Helper()
	refused(t, makeZip(t, items...), Limits{}, entry, reason)
	refused(t, makeTar(t, items...), Limits{}, entry, reason)
}

func TestRefusesZipSlip(t *testing.T) {
	for _, name := range []string{"../x", "a/../../x", "a/..", "..", "a/../x"} {
		refusedBoth(t, name, "leads out of the pack's folder", item{name: "ok"}, item{name: name})
	}
	refusedBoth(t, "a/../", "leads out of the pack's folder", item{name: "a/../"})
}

func TestRefusesAbsolutePaths(t *testing.T) {
	refusedBoth(t, "/etc/x", "has an absolute path", item{name: "ok"}, item{name: "/etc/x"})
	refusedBoth(t, "C:/x", "has a drive letter", item{name: "C:/x"})
	refusedBoth(t, "//host/x", "has an absolute path", item{name: "//host/x"})
}

func TestRefusesBackslash(t *testing.T) {
	refusedBoth(t, `a\..\..\x`, `has a \ in its path: use /`, item{name: `a\..\..\x`})
}

func TestRefusesOddNames(t *testing.T) {
	refusedBoth(t, "a\nb", "has a control character", item{name: "a\nb"})
	refusedBoth(t, "a\u0085b", "has a control character", item{name: "a\u0085b"})
	refusedBoth(t, "a//b", "has an empty folder name", item{name: "a//b"})
	refusedBoth(t, "a/./b", "has an empty folder name or a .", item{name: "a/./b"})
	refusedBoth(t, strings.Repeat("n", 256), "has a name of 256 bytes", item{name: strings.Repeat("n", 256)})
	refusedBoth(t, strings.Repeat("n/", 300)+"x", "has a path of 601 bytes", item{name: strings.Repeat("n/", 300) + "x"})
	refusedBoth(t, strings.Repeat("n/", 33)+"x", "lies more than 32 folders deep", item{name: strings.Repeat("n/", 33) + "x"})
	refused(t, makeZip(t, item{name: "a\x00b"}), Limits{}, "a\x00b", "has a control character")
	refused(t, makeZip(t, item{name: "a\xffb"}), Limits{}, "a\xffb", "is not UTF-8")
	refused(t, makeZip(t, item{name: ""}), Limits{}, "", "has no name")
}

func TestRefusesSameNames(t *testing.T) {
	refusedBoth(t, "x", "is there twice", item{name: "x", text: "1"}, item{name: "x", text: "2"})
	refusedBoth(t, "README", "differs from \"readme\" in upper and lower case", item{name: "readme"}, item{name: "README"})
	refusedBoth(t, "Lib", "differs from \"lib\"", item{name: "lib/a"}, item{name: "Lib/b"})
	refusedBoth(t, "\u212a", "differs from \"k\"", item{name: "k"}, item{name: "\u212a"}) // the sign for kelvin
	refusedBoth(t, "\u017f", "differs from \"s\"", item{name: "s"}, item{name: "\u017f"}) // the long s
	refusedBoth(t, "a", "is a file and a folder", item{name: "a"}, item{name: "a/b"})
	refusedBoth(t, "a", "is a file and a folder", item{name: "a/b"}, item{name: "a"})
}

// TestRefusesSymlink holds the attack that writes through a link which came just before.
func TestRefusesSymlink(t *testing.T) {
	outside := t.TempDir()
	refused(t, makeTar(t, item{name: "ok"}, item{name: "a", typ: tar.TypeSymlink, link: outside}, item{name: "a/x", text: "1"}), Limits{}, "a", "is a link")
	refused(t, makeZip(t, item{name: "ok"}, item{name: "a", text: outside, mode: fs.ModeSymlink | 0o777}, item{name: "a/x", text: "1"}), Limits{}, "a", "is a link")
	if got := tree(t, outside); len(got) > 0 {
		t.Errorf("outside there is now %q", got)
	}
}

func TestRefusesHardLink(t *testing.T) {
	refused(t, makeTar(t, item{name: "ok"}, item{name: "a", typ: tar.TypeLink, link: "/etc/passwd"}), Limits{}, "a", "is a link")
}

func TestRefusesDevices(t *testing.T) {
	for _, typ := range []byte{tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeCont} {
		refused(t, makeTar(t, item{name: "dev", typ: typ}), Limits{}, "dev", "is neither a file nor a folder")
	}
	refused(t, makeZip(t, item{name: "dev", mode: fs.ModeDevice | 0o600}), Limits{}, "dev", "is neither a file nor a folder")
}

func TestRefusesBombByRatio(t *testing.T) {
	bomb := item{name: "zeros", text: strings.Repeat("\x00", 2<<20)}
	refused(t, makeZip(t, bomb), Limits{}, "zeros", "makes it larger than it may be: 2097152 bytes more")
	refused(t, makeTar(t, bomb), Limits{}, "zeros", "makes it larger than it may be")
	// What fits into the ratio is no bomb, nor is what is small.
	for _, l := range []Limits{{Ratio: 2000}, {}} {
		small := item{name: "zeros", text: bomb.text[:1<<20-4096]}
		if l.Ratio > 0 {
			small = bomb
		}
		for kind, data := range map[string][]byte{"zip": makeZip(t, small), "tar": makeTar(t, small)} {
			if _, _, err := unpack(t, data, l); err != nil {
				t.Errorf("Unpack of a %s of %d zeros with %+v = %v", kind, len(small.text), l, err)
			}
		}
	}
}

func TestRefusesBombAfterLastEntry(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	_ = w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg})
	_, err := z.Write(make([]byte, 2<<20)) // begins with the tar's end
	if err := errors.Join(err, w.Flush(), z.Close()); err != nil {
		t.Fatal(err)
	}
	refused(t, b.Bytes(), Limits{}, "", "unpacks to more bytes than it may")
}

func TestRefusesManyFiles(t *testing.T) {
	var items []item
	for i := range 40 {
		items = append(items, item{name: strings.Repeat("d/", i%4) + string(rune('A'+i/4)) + "_" + string(rune('0'+i%4))})
	}
	for kind, data := range map[string][]byte{"zip": makeZip(t, items...), "tar": makeTar(t, items...)} {
		if _, _, err := unpack(t, data, Limits{Files: 43}); err != nil { // with three folders
			t.Errorf("Unpack of a %s of 40 files in 3 folders, 43 at most: %v", kind, err)
		}
		refused(t, data, Limits{Files: 42}, "", "has more than 42 files and folders")
		refused(t, data, Limits{Files: 39}, "", "has more than 39 files and folders")
	}
	refused(t, makeTar(t, item{name: "a"}, item{name: "d/"}, item{name: "d/"}, item{name: "d/"}), Limits{Files: 3}, "", "has more than 3 files and folders")
}

// TestRefusesLongDirectory holds a zip whose list of files alone would fill the memory: it ends early.
func TestRefusesLongDirectory(t *testing.T) {
	items := make([]item, 3000)
	for i := range items {
		items[i].name = strings.Repeat("x", 500)
	}
	refused(t, makeZip(t, items...), Limits{Files: 10}, "", "has more than 10 files and folders")
}

func TestRefusesHugeDeclaredSizes(t *testing.T) {
	// The size stands in the directory at the end, 24 bytes after its signature.
	data := makeZip(t, item{name: "a", text: "a"})
	at := bytes.Index(data, []byte("PK\x01\x02")) + 24
	copy(data[at:], "\xfe\xff\xff\xff")
	refused(t, data, Limits{}, "a", "makes it larger than it may be: 4294967294 bytes more")
	refused(t, data, Limits{Bytes: 1 << 40, Ratio: 1 << 40}, "a", "is damaged or was cut short")

	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := tar.NewWriter(z).WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 1 << 60})
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	refused(t, b.Bytes(), Limits{}, "a", "makes it larger than it may be: 1152921504606846976 bytes more")
	refused(t, b.Bytes(), Limits{Bytes: 1 << 61, Ratio: 1 << 61}, "", "is damaged or was cut short")
}

func TestRefusesTooManyBytes(t *testing.T) {
	items := []item{{name: "a", text: "1234"}, {name: "b", text: "12345"}}
	refused(t, makeZip(t, items...), Limits{Bytes: 8}, "b", "5 bytes more, when 4 are left")
	if _, _, err := unpack(t, makeZip(t, items...), Limits{Bytes: 9}); err != nil {
		t.Errorf("Unpack of 9 bytes, 9 at most: %v", err)
	}
	refused(t, makeTar(t, items...), Limits{Bytes: 2000}, "", "unpacks to more bytes than it may")
}

// TestRefusesTruncated cuts archives at every byte.
func TestRefusesTruncated(t *testing.T) {
	items := []item{{name: "main.py", text: "def f(): pass"}, {name: "b/c", text: strings.Repeat("abc", 100)}}
	for kind, data := range map[string][]byte{"zip": makeZip(t, items...), "tar": makeTar(t, items...)} {
		dir := t.TempDir()
		for n := range data {
			root, err := Unpack(bytes.NewReader(data), int64(n), dir, Limits{})
			if refusal := (*Error)(nil); !errors.As(err, &refusal) || len(tree(t, dir)) > 0 {
				t.Fatalf("the first %d of %d bytes of a %s: %q, %v; the folder holds %q", n, len(data), kind, root, err, tree(t, dir))
			}
		}
	}
}

// TestRefusesDamage flips a bit of the content after a file that is whole, so that something was written already.
func TestRefusesDamage(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"a", "b"} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = io.WriteString(f, "content of "+name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, bytes.Replace(b.Bytes(), []byte("content of b"), []byte("content of c"), 1), Limits{}, "b", "is damaged or was cut short: zip: checksum error")
}

func TestRefusesOthers(t *testing.T) {
	for _, data := range []string{"", "P", "PK", "just text", "BZh91AY", "\xfd7zXZ\x00"} {
		refused(t, []byte(data), Limits{}, "", "is neither a zip nor a tar.gz file")
	}
	refusedBoth(t, "", "holds no files")
	refusedBoth(t, "", "holds no files", item{name: "a/"}, item{name: "a/b/"})

	encrypted := makeZip(t, item{name: "a", text: "a"})
	encrypted[bytes.Index(encrypted, []byte("PK\x01\x02"))+8] |= 1
	refused(t, encrypted, Limits{}, "a", "is encrypted")
	method := makeZip(t, item{name: "a", text: "a"})
	method[bytes.Index(method, []byte("PK\x01\x02"))+10] = 12
	refused(t, method, Limits{}, "a", "use deflate")
}

// changing gives other bytes when it is read again.
type changing struct{ first, then *bytes.Reader }

func (c *changing) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.first.ReadAt(p, at)
	if at+int64(n) == c.first.Size() {
		c.first = c.then
	}
	return n, err
}

// TestRefusesChange: what is written is what was judged, even if the archive's file changes under the reader.
func TestRefusesChange(t *testing.T) {
	good, bad := makeTar(t, item{name: "aaaaa", text: "x"}), makeTar(t, item{name: "../aa", text: "x"})
	size := max(len(good), len(bad))
	dir := t.TempDir()
	_, err := Unpack(&changing{bytes.NewReader(good), bytes.NewReader(bad)}, int64(size), dir, Limits{})
	if refusal := (*Error)(nil); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "changed while it was read") || len(tree(t, dir)) > 0 {
		t.Errorf("Unpack = %v, and the folder holds %q", err, tree(t, dir))
	}
}
