package openapi

// Info is what a description says of the whole API.
type Info struct {
	Title       string
	Version     string
	Description string // CommonMark
	Tags        []Tag  // the groups of operations, in the order in which they are shown
}

// Tag is a group of operations.
type Tag struct{ Name, Doc string }

// Operation is one thing that can be asked for.
type Operation struct {
	Method  string // "GET"
	Path    string // "/task/{id}"
	ID      string // what clients that are made of the description call it
	Tag     string
	Summary string // one line
	Doc     string // CommonMark; "" = the summary says all

	Params  []Param
	Body    *Body // nil = there is none
	Answers []Answer

	// Open says that it can be asked for without a token, Bearer that a token is read. Both: a token is optional. Basic says that a
	// name and a password may be sent instead of a body with them.
	Open, Bearer, Basic bool
	// Scopes are those that the token must have.
	Scopes []string
}

// Where a Param stands.
const (
	InPath   = "path"
	InQuery  = "query"
	InHeader = "header"
)

// Param is a parameter of an operation.
type Param struct {
	Name   string
	In     string // InPath, InQuery or InHeader
	Doc    string
	Schema any // of its text, or with Many of each of several
	Many   bool
	Shared string // params of the same Shared are the same, and are put down once; "" = it is put down here
}

// Content is a body in one of its forms.
type Content struct {
	Type   string // "application/json"
	Schema any    // nil = bytes
}

// Body is that of a request.
type Body struct {
	Contents []Content
	Optional bool
	Doc      string
}

// Answer is how an operation may be answered.
type Answer struct {
	Status  int
	Doc     string
	Content []Content // one or none; none = no body that is described
	Headers []Header
	Name    string // answers of the same name are the same, and are put down once; "" = it is put down here
}

// Header is one of an answer.
type Header struct{ Name, Doc string }

// schemaRef is where named schemas stand in OpenAPI 3.1.
const schemaRef = "#/components/schemas/"

// The names of the ways to show who one is.
const (
	bearer = "bearer"
	basic  = "basic"
)
