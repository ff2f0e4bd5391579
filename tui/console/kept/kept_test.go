package kept

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/layout"
)

func some() State {
	var s State
	s.KeepView(agents.Saved{Name: "db", Arrangement: agents.Arrangement{Filter: "env:prod", Sort: "-name", Columns: []string{"env"}}})
	s.KeepLayout(Layout{Name: "both", Tabs: []*layout.Plan{{Share: 300, First: &layout.Plan{Target: "a"}, Second: &layout.Plan{Target: "b"}}}})
	return s
}

func TestRoundTrip(t *testing.T) {
	s := some()
	s.KeepView(s.Views[0]) // the same name again
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil || !reflect.DeepEqual(got, s) || len(got.Views) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	s.ForgetView("db")
	s.ForgetLayout("both")
	if len(s.Views)+len(s.Layouts) != 0 || len(got.Views) != 1 {
		t.Error("not forgotten, or in a copy too")
	}
}

func TestRefused(t *testing.T) {
	for _, doc := range []string{
		"", "null 1", "[]", `{"views":[{"name":""}]}`, `{"views":[{"name":"a\u001b[2J"}]}`, `{"more":1}`, `{"layouts":[{"name":"a","tabs":[]}]}`,
		`{"layouts":[{"name":"a","tabs":[null]}]}`, `{"layouts":[{"name":"a","tabs":[{"share":1,"first":{"target":"x"}}]}]}`,
		`{"layouts":[{"name":"a","argv":["rm"],"tabs":[{"target":"x"}]}]}`, strings.Repeat(" ", MaxSize+1),
	} {
		if s, err := Parse([]byte(doc)); err == nil {
			t.Errorf("%.60q is %+v", doc, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := some().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"views":null,"layouts":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		for _, l := range s.Layouts {
			l.Targets()
		}
		again, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(again); err != nil {
			t.Errorf("what was written is refused: %v", err)
		}
	})
}
