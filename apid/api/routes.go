package api

import (
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

// A route is one line of the table that everything is made from: the mux, the
// OpenAPI document, and the test that foreign ids are not found.
type route struct {
	method, path string
	who          who
	doc          string
	query        []string // parameters that it knows; another is refused
	waits        time.Duration
	endpoint     endpoint
}

func (rt *route) label() string { return rt.method + " " + rt.path }

func (rt *route) timeout() time.Duration { return requestTimeout + rt.waits }

// checkQuery refuses unknown and repeated parameters.
func (rt *route) checkQuery(r *http.Request) error {
	for name, values := range r.URL.Query() {
		known := slices.Contains(rt.query, name) || name == wire.QueryTeam && (rt.who == agent || rt.who == reader)
		if !known || len(values) != 1 {
			return malformed("an unknown or repeated query parameter", "/v1/openapi.json describes them")
		}
	}
	return nil
}

// routes is the table.
func (s *Server) routes() []route {
	const maxWait = wire.MaxWait * time.Second
	return []route{
		{"GET", "/v1/openapi.json", anyone, "This document.", nil, 0, get(s.getOpenAPI)},
		{"GET", "/v1/server", anyone, "Public keys and addresses of the servers, for founders.", nil, 0, get(s.getServer)},
		{"POST", "/v1/teams", anyone, "Found a team with a signed genesis.", nil, 0, post(s.foundTeam)},
		{"POST", "/v1/token", device, "Sign in: an access token for a device that is on the team's roster.", nil, 0, post(s.signIn)},
		{"GET", "/v1/roster", reader, "The team's signed roster statements.", []string{"after"}, 0, get(s.getRoster)},
		{"POST", "/v1/roster/statements", member, "Append signed statements, all or none.", nil, 0, post(s.postStatements)},
		{"GET", "/v1/agents", member, "Which agents are online.", []string{"after"}, 0, get(s.getAgents)},
		{"GET", "/v1/actor", member, "Where the chain of this device's proofs stands.", nil, 0, get(s.getActor)},
		{"POST", "/v1/proofs", member, "Record a proof of this device without any effect.", nil, 0, post(s.postProof)},
		{"POST", "/v1/sessions", member, "Ask for a grant.", nil, 0, post(s.postSession)},
		{"GET", "/v1/sessions", member, "The latest sessions: one's own, or all for auditors.", nil, 0, get(s.getSessions)},
		{"POST", "/v1/approvals", member, "Ask for approval of a held request.", nil, 0, post(s.postApproval)},
		{"GET", "/v1/approvals", member, "Approvals that one asked for, may decide on, or audits.", []string{"state", "after"}, 0, get(s.getApprovals)},
		{"GET", "/v1/approvals/{id}", member, "One approval; with wait, when it is no longer pending.", []string{"wait"}, maxWait, get(s.getApproval)},
		{"POST", "/v1/approvals/{id}/decision", member, "Decide.", nil, 0, post(s.postDecision)},
		{"POST", "/v1/approvals/{id}/cancel", member, "Take an own ask back.", nil, 0, post(s.postCancel)},
		{"POST", "/v1/entries", agent, "An agent's signed audit entries.", nil, 0, post(s.postEntries)},
		{"GET", "/v1/audit/checkpoint", member, "The audit log's signed checkpoint.", nil, 0, get(s.getCheckpoint)},
		{"GET", "/v1/audit/entries", auditor, "Audit entries.", []string{"from", "n"}, 0, get(s.getEntries)},
		{"GET", "/v1/audit/proof", auditor, "An inclusion proof.", []string{"index"}, 0, get(s.getLogProof)},
		{"GET", "/v1/audit/export", auditor, "The whole log in one file that verifies offline.", nil, exportTime, get(s.getExport)},
	}
}

// mux makes the handler and the OpenAPI document of a table.
func (s *Server) mux(table []route) (http.Handler, []byte, error) {
	mux := http.NewServeMux()
	doc := &huma.OpenAPI{
		OpenAPI:    "3.1.0",
		Info:       &huma.Info{Title: "TucDesk apid", Version: daemon.Version().Version},
		Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
	}
	for i := range table {
		rt := &table[i]
		mux.HandleFunc(rt.label(), s.serve(rt))
		doc.AddOperation(rt.operation(doc.Components.Schemas))
	}
	// Whatever is not in the table is not found, for everybody alike.
	missing := route{who: anyone, endpoint: get(s.getNothing)}
	mux.HandleFunc("/", s.serve(&missing))
	b, err := doc.MarshalJSON()
	if err != nil {
		return nil, nil, fmt.Errorf("api: openapi: %w", err)
	}
	return mux, b, nil
}

// operation describes a route.
func (rt *route) operation(schemas huma.Registry) *huma.Operation {
	name := strings.NewReplacer("/v1/", "", "/", "-", "{", "", "}", "", ".", "-").Replace(rt.path)
	op := &huma.Operation{
		OperationID: strings.ToLower(rt.method) + "-" + name,
		Method:      rt.method,
		Path:        rt.path,
		Summary:     rt.doc,
		Responses:   map[string]*huma.Response{},
	}
	for _, q := range rt.query {
		op.Parameters = append(op.Parameters, &huma.Param{Name: q, In: "query", Schema: &huma.Schema{Type: huma.TypeString}})
	}
	if strings.Contains(rt.path, "{id}") {
		op.Parameters = append(op.Parameters, &huma.Param{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	if rt.endpoint.in != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: jsonOf(schemas, rt.endpoint.in, "application/json")}
	}
	answer := &huma.Response{Description: "OK"}
	if rt.endpoint.out == reflect.TypeFor[stream]() {
		answer.Content = map[string]*huma.MediaType{"application/octet-stream": {}}
	} else {
		answer.Content = jsonOf(schemas, rt.endpoint.out, "application/json")
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
