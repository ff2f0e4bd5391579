package key

import "reflect"

// Erase zeroes what v, a pointer to a key, a cipher or a MAC of the standard library,
// holds itself and in slices of bytes; a struct that is nothing but a pointer is what it
// points to. v must not be used again. The library has no
// such call: its values keep their copy of a key until the garbage collector gives
// their memory to others. internal/session tests what is left.
func Erase(v any) {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer {
		erase(p)
	}
}

func erase(p reflect.Value) {
	if p.IsNil() {
		return
	}
	s := reflect.NewAt(p.Type().Elem(), p.UnsafePointer()).Elem() // also where a field has it that is not exported
	if s.Kind() == reflect.Struct {
		for i := range s.NumField() {
			switch f := s.Field(i); {
			case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Uint8:
				clear(f.Bytes())
			case f.Kind() == reflect.Pointer && s.NumField() == 1:
				erase(f)
			}
		}
	}
	s.SetZero()
}
