package node

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImportOrder holds the one-way order of the folders: who may import whom, beside
// the folder's own packages. A new folder needs a line here.
func TestImportOrder(t *testing.T) {
	mayImport := map[string][]string{
		"main":      {"node", "taskpacks"},
		"node":      {"httpapi", "scheduler", "cluster", "fsm", "taskpacks"},
		"httpapi":   {"fsm", "taskpacks"},
		"scheduler": {"fsm"},
		"fsm":       {},
		"cluster":   {},
		"taskpacks": {},
	}
	for _, p := range modulePackages(t) {
		from := folderOf(p.ImportPath)
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("folder %s is not in the import order", from)
			continue
		}
		for _, imported := range p.Imports {
			to := folderOf(imported)
			if imported == "pytasks/node/failpoint" {
				continue // every folder may: it is empty in the program, and a leaf
			}
			if to != "" && p.ImportPath == "pytasks/node/failpoint" {
				t.Errorf("%s imports %s, want none of ours", p.ImportPath, imported)
			}
			if to != "" && to != from && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s, got folder %s, want one of %v", p.ImportPath, imported, to, allowed)
			}
		}
	}
}

// TestTaskpacksCoreIsSmall keeps the package that pack authors test against free of
// everything but the standard library.
func TestTaskpacksCoreIsSmall(t *testing.T) {
	for _, p := range modulePackages(t) {
		for _, imported := range p.Imports {
			first, _, _ := strings.Cut(imported, "/")
			if p.ImportPath == "pytasks/taskpacks" && strings.Contains(first, ".") {
				t.Errorf("%s imports %s, want the standard library only", p.ImportPath, imported)
			}
		}
	}
}

// TestHistoryIsApart keeps the package that judges nodes from knowing how they work, and
// the program from holding it.
func TestHistoryIsApart(t *testing.T) {
	const history, program = "pytasks/node/history", "pytasks/node/history/chaosnode"
	for _, p := range modulePackages(t) {
		for _, imported := range p.Imports {
			if p.ImportPath == history && folderOf(imported) != "" && imported != "pytasks/taskpacks" {
				t.Errorf("%s imports %s, want pytasks/taskpacks only", history, imported)
			}
			if imported == history && p.ImportPath != program {
				t.Errorf("%s imports %s, want that in tests and %s only", p.ImportPath, history, program)
			}
		}
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// modulePackages lists the packages of this module.
func modulePackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 3 {
		t.Fatalf("go list found %d packages, want all of the module", len(packages))
	}
	return packages
}

// folderOf is the folder at the top of the module that holds a package, "main" for the
// program itself, "" for packages of others.
func folderOf(path string) string {
	if path == "pytasks" {
		return "main"
	}
	rest, ok := strings.CutPrefix(path, "pytasks/")
	if !ok {
		return ""
	}
	folder, _, _ := strings.Cut(rest, "/")
	return folder
}
