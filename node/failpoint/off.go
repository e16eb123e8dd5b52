//go:build !failpoints

package failpoint

// Point does nothing.
func Point(string) {}

// Err does nothing and returns nil.
func Err(string) error { return nil }
