package storetest_test

import (
	"testing"

	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
)

func TestModel(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open:    func(testing.TB, string) store.Store { return new(storetest.Model) },
		Forgets: true,
	})
}
