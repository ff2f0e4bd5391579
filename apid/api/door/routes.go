package door

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A Route is one line of the table that everything is made from: the mux, the
// OpenAPI document, and the test that foreign ids are not found. Get and Post
// make routes.
type Route struct {
	Method, Path string
	Who          Who
	Doc          string
	query        []string      // parameters that it knows; another is refused
	waits        time.Duration // that the caller may ask it to wait
	upload       int64         // of a body of bytes, its bound; 0: JSON or none
	in, out      reflect.Type  // of body and answer; in is nil where there is no body
	serve        func(ctx context.Context, r *Request) (any, error)
}

// Query gives the route with the parameters that it knows.
func (rt Route) Query(names ...string) Route { rt.query = names; return rt }

// Waits gives the route with more time for its answer.
func (rt Route) Waits(d time.Duration) Route { rt.waits = d; return rt }

// Label is method and path.
func (rt *Route) Label() string { return rt.Method + " " + rt.Path }

func (rt *Route) timeout() time.Duration { return requestTimeout + rt.waits }

// checkQuery refuses unknown and repeated parameters.
func (rt *Route) checkQuery(r *http.Request) error {
	for name, values := range r.URL.Query() {
		known := slices.Contains(rt.query, name) || name == wire.QueryTeam && (rt.Who == Agent || rt.Who == Reader)
		if !known || len(values) != 1 {
			return Malformed("an unknown or repeated query parameter", "/v1/openapi.json describes them")
		}
	}
	return nil
}

// Handler makes the handler and the OpenAPI document of a table.
func (d *Door) Handler(table []Route) (http.Handler, []byte, error) {
	mux := http.NewServeMux()
	doc := &huma.OpenAPI{
		OpenAPI:    "3.1.0",
		Info:       &huma.Info{Title: "TucDesk apid", Version: daemon.Version().Version},
		Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
	}
	for i := range table {
		rt := &table[i]
		mux.HandleFunc(rt.Label(), d.serve(rt))
		doc.AddOperation(rt.operation(doc.Components.Schemas))
	}
	// Whatever is not in the table is not found, for everybody alike.
	missing := Get("", Anyone, "", nothing)
	mux.HandleFunc("/", d.serve(&missing))
	b, err := doc.MarshalJSON()
	if err != nil {
		return nil, nil, fmt.Errorf("door: openapi: %w", err)
	}
	return mux, b, nil
}

// nothing answers for what is not in the table.
func nothing(context.Context, *Request) (struct{}, error) { return struct{}{}, NotFound() }

// operation describes a route.
func (rt *Route) operation(schemas huma.Registry) *huma.Operation {
	name := strings.NewReplacer("/v1/", "", "/", "-", "{", "", "}", "", ".", "-").Replace(rt.Path)
	op := &huma.Operation{
		OperationID: strings.ToLower(rt.Method) + "-" + name,
		Method:      rt.Method,
		Path:        rt.Path,
		Summary:     rt.Doc,
		Responses:   map[string]*huma.Response{},
	}
	for _, q := range rt.query {
		op.Parameters = append(op.Parameters, &huma.Param{Name: q, In: "query", Schema: &huma.Schema{Type: huma.TypeString}})
	}
	for _, name := range []string{"id", "n"} {
		if strings.Contains(rt.Path, "{"+name+"}") {
			op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	if rt.upload > 0 {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}}
	}
	if rt.in != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: jsonOf(schemas, rt.in, "application/json")}
	}
	answer := &huma.Response{Description: "OK"}
	switch rt.out {
	case reflect.TypeFor[Stream]():
		answer.Content = map[string]*huma.MediaType{"application/octet-stream": {}}
	case reflect.TypeFor[Feed]():
		answer.Content = map[string]*huma.MediaType{wire.ContentTypeEvents: {}}
		op.Parameters = append(op.Parameters, &huma.Param{Name: wire.HeaderLastEvent, In: "header", Schema: &huma.Schema{Type: huma.TypeString}})
	default:
		answer.Content = jsonOf(schemas, rt.out, "application/json")
	}
	op.Responses["200"] = answer
	op.Responses["default"] = &huma.Response{
		Description: "A problem (RFC 9457)",
		Content:     jsonOf(schemas, reflect.TypeFor[wire.ProblemError](), wire.ContentTypeProblem),
	}
	return op
}

func jsonOf(schemas huma.Registry, t reflect.Type, mediaType string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{mediaType: {Schema: schemas.Schema(t, true, t.Name())}}
}
