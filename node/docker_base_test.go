package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeBase gives the engine an image of a small Debian with Python, made by debootstrap: none can be pulled.
func (e *engine) makeBase() {
	e.t.Helper()
	e.sh(".", e.docker+" import '"+debian(e.t)+"' "+e.base)
}

// debian returns the tar file of a small Debian with Python, from the cache of this user or newly made. It is unpacked and not
// configured, which takes half the time and is enough for an interpreter.
func debian(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	file := filepath.Join(cache, "pytasks-test", "debian-python3.tar")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make a base image with debootstrap")
	}
	bootstrap, library := debootstrap(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(script string) ([]byte, error) {
		cmd := exec.Command("bash", "-euc", script, "bash", file)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "DEBOOTSTRAP_DIR="+library)
		return cmd.CombinedOutput()
	}
	out, err := run(`
. /etc/os-release
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" 'Created-By: Packages' | head -1)
` + bootstrap + ` --foreign --variant=minbase --include=python3 "$VERSION_CODENAME" root "$mirror"`)
	if err != nil {
		t.Skipf("no base image by debootstrap: %v\n%s", err, tail(string(out), 5))
	}
	out, err = run(`
for package in root/var/cache/apt/archives/*.deb; do
	dpkg-deb --fsys-tarfile "$package" | tar -C root -x --keep-directory-symlink
done
cd root
for folder in proc sys; do # of the first stage they may be links
	[ ! -L "$folder" ] || rm "$folder"
	mkdir -p "$folder"
done
rm -rf debootstrap var/cache/apt var/lib/apt usr/share/doc usr/share/locale usr/share/man dev/*
tar -cf "$1.new" .
mv "$1.new" "$1"`)
	if err != nil {
		t.Fatalf("unpack the base image: %v\n%s", err, tail(string(out), 5))
	}
	return file
}

// debootstrap returns the program and the folder of its library, from the PATH or from Debian's package.
func debootstrap(t *testing.T) (program, library string) {
	t.Helper()
	if program, err := exec.LookPath("debootstrap"); err == nil {
		return program, "/usr/share/debootstrap"
	}
	root := debianPackage(t, "debootstrap")
	return filepath.Join(root, "usr/sbin/debootstrap"), filepath.Join(root, "usr/share/debootstrap")
}

// debianPackage returns a folder with the files of a package of Debian, which is not installed; it skips the test if it
// cannot be had.
func debianPackage(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("bash", "-euc", `apt-get download "$1" && dpkg-deb -x ./*.deb root`, "bash", name)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no %s on the PATH, and its Debian package cannot be had: %v\n%s", name, err, tail(strings.TrimSpace(string(out)), 3))
	}
	return filepath.Join(dir, "root")
}
