package strict

import (
	"errors"
	"testing"
)

func TestDecode(t *testing.T) {
	type in struct {
		Proof     []byte  `json:"proof"`
		Approvals []uint8 `json:"approvals"`
	}
	for doc, want := range map[string]bool{
		`{"proof":"AA=="}`:                     true,
		` {"proof":"AA==","approvals":[]} `:    true,
		`{"proof":"AA==","proof":"AA=="}`:      false,
		`{"proof":"AA==","\u0070roof":"AA=="}`: false,
		`{"PROOF":"AA=="}`:                     false,
		`{"proo\u017f":"AA=="}`:                false,
		`{"unknown":1}`:                        false,
		`{"proof":"AA=="}{}`:                   false,
		`{"proof":"AA=="`:                      false,
		`[]`:                                   false,
		``:                                     false,
		`{"approvals":["` + "GG" + `"]}`:       false,
		`{"approvals":[[[[[[[[[[]]]]]]]]]]}`:   false,
	} {
		var v in
		if err := Decode([]byte(doc), &v); (err == nil) != want || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
