// Package openapi writes what an API takes and gives as OpenAPI 3.1 and as Swagger 2.0.
//
// It knows no API: it is given operations, and Go types whose schemas it finds by reflection, so that a description is made of the
// very structs that a handler reads and writes. It says nothing about whether a request is good.
//
// Start reading at operation.go. Document writes the one form, Swagger the other; what the older one has no words for is left out
// there, so that it takes more than it should and never less.
package openapi
