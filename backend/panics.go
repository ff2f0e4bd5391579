package backend

import "sync/atomic"

// catcher is who hears of panics of goroutines that Go has started; nil: nobody.
var catcher atomic.Pointer[func(v any)]

// Go runs f on a goroutine of its own, as the go statement does. Should f panic while
// somebody catches that, they hear of it and the goroutine ends: whoever has painted on a
// terminal restores it before the process ends. Otherwise the process ends at once, as Go
// has it. Backends and screens start what outlives a call with it. It is safe for
// concurrent use.
func Go(f func()) {
	go func() {
		defer func() {
			caught := catcher.Load()
			if caught == nil {
				return // not recovered: the process ends
			}
			if v := recover(); v != nil {
				(*caught)(v)
			}
		}()
		f()
	}()
}

// Catch has caught called with the value of a panic, on the goroutine that panics and
// before its stack is gone, until release is called. Who catches must end the process
// soon, because what the goroutine was about to do is never done. There is one catcher at
// a time: a second takes the place of the first.
func Catch(caught func(v any)) (release func()) {
	catcher.Store(&caught)
	return func() { catcher.CompareAndSwap(&caught, nil) }
}
