package httpapi

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Answers are written by appending to a buffer: the records hold JSON already,
// and encoding/json would go through all of it again.

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendKey writes a key that needs no escapes, and the colon.
func appendKey(b []byte, key string) []byte {
	b = append(b, '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

// appendString writes s as a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0 // of what is not yet written
	for i := 0; i < len(s); {
		switch ch := s[i]; {
		case ch >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		case ch == '"' || ch == '\\':
			b = append(append(b, s[start:i]...), '\\', ch)
			start = i + 1
		case ch == '\n':
			b = append(append(b, s[start:i]...), '\\', 'n')
			start = i + 1
		case ch < 0x20:
			b = append(append(b, s[start:i]...), '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
			start = i + 1
		}
		i++
	}
	return append(append(b, s[start:]...), '"')
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendTime writes milliseconds since 1970 as RFC 3339 in UTC.
func appendTime(b []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(b, `"2006-01-02T15:04:05.000Z"`)
}

// appendSeconds writes milliseconds as seconds, exactly.
func appendSeconds(b []byte, ms int64) []byte {
	b = appendInt(b, ms/1000)
	if rest := ms % 1000; rest > 0 {
		b = append(b, '.', byte('0'+rest/100))
		if rest%100 > 0 {
			b = append(b, byte('0'+rest/10%10))
		}
		if rest%10 > 0 {
			b = append(b, byte('0'+rest%10))
		}
	}
	return b
}
