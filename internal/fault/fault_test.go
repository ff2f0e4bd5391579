package fault_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/tucdesk/tucdesk/internal/fault"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
)

// TestEveryCall calls each method of each aggregate and expects each to pass
// through the plan: a method that is added to an interface and forgotten here
// would never fail.
func TestEveryCall(t *testing.T) {
	methods := 0
	each := func(tx store.Tx, f func(name string, m reflect.Value)) {
		v := reflect.ValueOf(tx)
		for i := range v.NumField() {
			face := v.Type().Field(i).Type
			for j := range face.NumMethod() {
				f(face.Name()+"."+face.Method(j).Name, v.Field(i).MethodByName(face.Method(j).Name))
			}
		}
	}
	call := func(m reflect.Value) error {
		var args []reflect.Value
		for i := range m.Type().NumIn() {
			args = append(args, reflect.Zero(m.Type().In(i)))
		}
		out := m.Call(args)
		err, _ := out[len(out)-1].Interface().(error)
		return err
	}
	count := &fault.Plan{}
	if err := fault.Store(new(storetest.Model), count).Tx(context.Background(), "acme", func(tx store.Tx) error {
		each(tx, func(_ string, m reflect.Value) { call(m); methods++ })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := len(count.Calls()); got != methods+2 { // tx.begin and tx.commit
		t.Fatalf("%d methods, and the plan saw %d calls: %v", methods, got, count.Calls())
	}
	for n := 2; n <= methods+1; n++ {
		plan := &fault.Plan{Call: n, When: fault.Before}
		hit := 0
		err := fault.Store(new(storetest.Model), plan).Tx(context.Background(), "acme", func(tx store.Tx) error {
			each(tx, func(name string, m reflect.Value) {
				if errors.Is(call(m), fault.ErrInjected) {
					hit++
				}
			})
			return nil
		})
		if err != nil || hit != 1 || plan.Hit() == "" {
			t.Errorf("call %d (%s): %d failures, %v", n, plan.Hit(), hit, err)
		}
	}
}

func TestCommit(t *testing.T) {
	write := func(tx store.Tx) error { return tx.Audit.SetCheckpoint(1, []byte("n")) }
	for _, test := range []struct {
		when fault.When
		kept int64
	}{{fault.Before, 0}, {fault.After, 1}} {
		s := new(storetest.Model)
		plan := &fault.Plan{Call: 3, When: test.when}
		if err := fault.Store(s, plan).Tx(context.Background(), "acme", write); !errors.Is(err, fault.ErrInjected) || plan.Hit() != "tx.commit" {
			t.Errorf("when %v: %v at %q", test.when, err, plan.Hit())
		}
		s.View(context.Background(), "acme", func(tx store.Tx) error {
			if size, _, _ := tx.Audit.Checkpoint(); size != test.kept {
				t.Errorf("when %v: kept %d, want %d", test.when, size, test.kept)
			}
			return nil
		})
	}
}
