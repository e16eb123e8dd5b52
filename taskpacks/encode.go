package taskpacks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
)

// Float is a float64 that stays one in JSON: 5 is written as 5.0, where encoding/json writes 5, an integer to its readers.
type Float float64

// MarshalJSON returns AppendFloat's text.
func (f Float) MarshalJSON() ([]byte, error) { return AppendFloat(nil, float64(f)) }

// AppendFloat appends f to dst as Python writes it: the shortest digits that read back as f, always with a point or an
// exponent. NaN and the infinities are errors, for JSON has no word for them.
func AppendFloat(dst []byte, f float64) ([]byte, error) { return appendFloat(dst, f, 64) }

func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, fmt.Errorf("%v is no JSON number", f)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, bits), nil
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	if bytes.IndexByte(dst[start:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst, nil
}

// encode writes *out as JSON. Frequent types take a short way.
func encode[R any](out *R) (json.RawMessage, error) {
	text, err := encodePlain(any(*out))
	if text == nil && err == nil {
		text, err = encodeAny(out)
	}
	if err != nil {
		return nil, Permanent(&ResultError{err})
	}
	return text, nil
}

// encodePlain returns nil, nil for the types that it does not know.
func encodePlain(out any) ([]byte, error) {
	switch v := out.(type) {
	case nil:
		return []byte("null"), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case float32:
		return appendFloat(nil, float64(v), 32)
	case float64:
		return AppendFloat(nil, v)
	case Float:
		return AppendFloat(nil, float64(v))
	case *big.Int:
		if v == nil {
			return []byte("null"), nil
		}
		return v.Append(nil, 10), nil
	case json.RawMessage:
		switch {
		case len(v) == 0:
			return []byte("null"), nil
		case !json.Valid(v):
			return nil, errors.New("the raw message is no valid JSON")
		}
		return v, nil
	}
	return nil, nil
}

// encodeAny takes a pointer so that methods on pointers are found, those of a big.Int for one.
func encodeAny(out any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
