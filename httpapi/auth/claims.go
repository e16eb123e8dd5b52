package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Claims are what a token says. They are read strictly, but for what tokens of the reference do: times may be texts that hold whole
// numbers, and allowed_tasks is a map.
type Claims struct {
	Sub      string
	Issuer   string
	Audience []string
	Issued   *jwt.NumericDate // nil = absent, as the next two
	Begins   *jwt.NumericDate
	Expires  *jwt.NumericDate
	Epoch    uint64 // of the user when the token was made

	Scopes  []string
	Allowed []string // types of tasks, or patterns
	Denied  []string // that the map names with a value that denies
	// TasksGiven says whether there is an allowed_tasks at all.
	TasksGiven bool
	// Text is the payload as it was sent. nil = the token is not made yet.
	Text []byte
}

// GetExpirationTime and the others make Claims what jwt judges.
func (c *Claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires, nil }

// GetIssuedAt returns iat.
func (c *Claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.Issued, nil }

// GetNotBefore returns nbf.
func (c *Claims) GetNotBefore() (*jwt.NumericDate, error) { return c.Begins, nil }

// GetIssuer returns iss.
func (c *Claims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject returns sub.
func (c *Claims) GetSubject() (string, error) { return c.Sub, nil }

// GetAudience returns aud.
func (c *Claims) GetAudience() (jwt.ClaimStrings, error) { return c.Audience, nil }

// Rights returns what the token allows.
func (c *Claims) Rights() Rights {
	return Rights{Scopes: c.Scopes, Allowed: c.Allowed, Denied: c.Denied}
}

// MarshalJSON writes a token's payload: times are numbers, allowed_tasks is the reference's map.
func (c *Claims) MarshalJSON() ([]byte, error) {
	fields := map[string]any{"allowed_tasks": allowedMap(c.Allowed, c.Denied)}
	if c.Sub != "" {
		fields["sub"] = c.Sub
	}
	if c.Issuer != "" {
		fields["iss"] = c.Issuer
	}
	if len(c.Audience) == 1 {
		fields["aud"] = c.Audience[0]
	} else if len(c.Audience) > 1 {
		fields["aud"] = c.Audience
	}
	for name, at := range map[string]*jwt.NumericDate{"iat": c.Issued, "nbf": c.Begins, "exp": c.Expires} {
		if at != nil {
			fields[name] = at.Unix()
		}
	}
	if c.Epoch != 0 {
		fields["epoch"] = c.Epoch
	}
	if len(c.Scopes) > 0 {
		fields["scopes"] = c.Scopes
	}
	return json.Marshal(fields)
}

func allowedMap(allowed, denied []string) map[string]bool {
	m := make(map[string]bool, len(allowed)+len(denied))
	for _, t := range allowed {
		m[t] = true
	}
	for _, t := range denied {
		m[t] = false
	}
	return m
}

// errNoObject is that a JSON text is none.
var errNoObject = errors.New("it is no object")

// errIssued is what the reference has words of its own for.
var errIssued = errors.New("iat: a text is no time here")

// UnmarshalJSON reads a token's payload. What it does not know it skips. Names are taken as they are written, and each once: others
// who read the token must not find something else in it.
func (c *Claims) UnmarshalJSON(text []byte) error {
	f, err := members(text)
	if err != nil {
		return err
	}
	if c.Sub, err = readText(f["sub"]); err != nil {
		return fmt.Errorf("sub: %w", err)
	}
	if c.Issuer, err = readText(f["iss"]); err != nil {
		return fmt.Errorf("iss: %w", err)
	}
	if raw := f["epoch"]; raw != nil {
		if err := json.Unmarshal(raw, &c.Epoch); err != nil {
			return fmt.Errorf("epoch: %w", err)
		}
	}
	if raw := f["iat"]; raw != nil && raw[0] == '"' {
		return errIssued
	}
	for name, to := range map[string]**jwt.NumericDate{"iat": &c.Issued, "nbf": &c.Begins, "exp": &c.Expires} {
		if *to, err = readTime(f[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if c.Audience, err = readTexts(f["aud"]); err != nil {
		return fmt.Errorf("aud: %w", err)
	}
	if c.Scopes, err = readTexts(f["scopes"]); err != nil {
		return fmt.Errorf("scopes: %w", err)
	}
	c.Allowed, c.Denied, c.TasksGiven = readTasks(f["allowed_tasks"])
	c.Text = bytes.Clone(text)
	return nil
}

// readTime reads seconds since 1970: a number, or a text that holds a whole one. Absent = nil.
func readTime(raw json.RawMessage) (*jwt.NumericDate, error) {
	if raw == nil {
		return nil, nil
	}
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return nil, errors.New("the text holds no whole number")
		}
	}
	seconds, err := json.Number(text).Float64()
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e12 {
		return nil, errors.New("it is no time")
	}
	whole, part := math.Modf(seconds)
	return &jwt.NumericDate{Time: time.Unix(int64(whole), int64(part*1e9))}, nil
}

// readTexts reads a text or a list of texts.
func readTexts(raw json.RawMessage) ([]string, error) {
	if raw == nil || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '"' {
		var text string
		err := json.Unmarshal(raw, &text)
		return []string{text}, err
	}
	var texts []string
	err := json.Unmarshal(raw, &texts)
	return texts, err
}

// readTasks reads a list of types, or the reference's map of types to what Python takes for true or false. Anything else allows
// nothing, and is not ok.
func readTasks(raw json.RawMessage) (allowed, denied []string, ok bool) {
	if raw == nil || string(raw) == "null" {
		return nil, nil, false
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list, nil, true
	}
	m, err := members(raw)
	if err != nil {
		return nil, nil, false
	}
	for t, v := range m {
		if isTrue(v) {
			allowed = append(allowed, t)
		} else {
			denied = append(denied, t)
		}
	}
	slices.Sort(allowed)
	slices.Sort(denied)
	return allowed, denied, true
}

// isTrue says whether Python takes a value for true.
func isTrue(raw json.RawMessage) bool {
	switch text := string(raw); text {
	case "false", "null", `""`, "[]", "{}":
		return false
	default:
		f, err := strconv.ParseFloat(text, 64)
		return err != nil || f != 0
	}
}

// ParseAllowed reads what a user is to be allowed: a list, or the reference's map. null is an empty list, as programs write it.
func ParseAllowed(raw json.RawMessage) (allowed []string, ok bool) {
	if string(raw) == "null" {
		return nil, true
	}
	allowed, denied, ok := readTasks(raw)
	var list []string
	var m map[string]bool
	return allowed, ok && len(denied) == 0 && (json.Unmarshal(raw, &list) == nil || json.Unmarshal(raw, &m) == nil)
}

// members returns the members of an object. Each name must be there once.
func members(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errNoObject
	}
	m := map[string]json.RawMessage{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // what else stands before a colon is an error
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%.80q is in it twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		m[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	return m, nil
}

// readText reads a text. Absent, or null, = "".
func readText(raw json.RawMessage) (text string, err error) {
	if raw != nil {
		err = json.Unmarshal(raw, &text)
	}
	return text, err
}
