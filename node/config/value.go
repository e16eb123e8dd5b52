package config

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// setting sets a field of Config from a text. It is a pflag.Value. Its errors end
// a sentence that begins with the text.
type setting struct {
	ptr   any
	given bool // the first value of a list replaces the default, more are added
}

func (v *setting) Set(text string) error {
	var err error
	switch p := v.ptr.(type) {
	case *string:
		*p = text
	case *bool:
		if *p, err = parseBool(text); err != nil {
			return err
		}
	case *int:
		if *p, err = strconv.Atoi(strings.ReplaceAll(text, "_", "")); err != nil {
			return errors.New("is not a whole number")
		}
	case *int64:
		if *p, err = parseSize(text); err != nil {
			return err
		}
	case *time.Duration:
		if *p, err = time.ParseDuration(text); err != nil {
			return errors.New("is not a duration; write 30s, 5m or 24h")
		}
	case *[]string:
		if !v.given {
			*p = nil
		}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
	}
	v.given = true
	return nil
}

func (v *setting) String() string {
	switch p := v.ptr.(type) {
	case *string:
		return *p
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *int64:
		return formatSize(*p)
	case *time.Duration:
		return ShortDuration(*p)
	case *[]string:
		return strings.Join(*p, ",")
	}
	return ""
}

// Type is the word that stands for the value in the help text.
func (v *setting) Type() string {
	switch v.ptr.(type) {
	case *bool:
		return "bool" // pflag leaves this one out
	case *int:
		return "number"
	case *int64:
		return "size"
	case *time.Duration:
		return "duration"
	case *[]string:
		return "list"
	}
	return "text"
}

// parseBool reads what people write for true and false.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "yes", "on":
		return true, nil
	case "no", "off":
		return false, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New("is neither true nor false")
	}
	return b, nil
}

// SizeUnit is a unit of sizes.
type SizeUnit struct {
	Name  string
	Bytes int64
}

// SizeUnits returns the units of sizes: those of 1024, the largest first, then those of 1000 and the byte.
func SizeUnits() []SizeUnit {
	return []SizeUnit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}
}

// parseSize reads a number of bytes: 1048576, 512MiB, 4GiB, 2GB.
func parseSize(text string) (int64, error) {
	number, unit := strings.ReplaceAll(strings.TrimSpace(text), "_", ""), int64(1)
	for _, u := range SizeUnits() {
		if head, ok := strings.CutSuffix(strings.ToLower(number), strings.ToLower(u.Name)); ok {
			number, unit = strings.TrimSpace(head), u.Bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n*unit/unit != n {
		return 0, errors.New("is not a size; write a number of bytes, or 512MiB, 4GiB")
	}
	return n * unit, nil
}

func formatSize(n int64) string {
	for _, u := range SizeUnits()[:4] {
		if n != 0 && n%u.Bytes == 0 {
			return strconv.FormatInt(n/u.Bytes, 10) + u.Name
		}
	}
	return strconv.FormatInt(n, 10)
}
