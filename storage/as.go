package storage

// As finds what a store can do beside the contract: in the store itself, or in
// the one that a [Named] or a decorator stands before. A decorator lets itself
// be looked through by a method Unwrap() Store; what passes bytes, such as
// [OpenAt], does not look through it.
func As[T any](s Store) (T, bool) {
	for {
		if able, ok := s.(T); ok {
			return able, true
		}
		switch outer := s.(type) {
		case Named:
			s = outer.Store
		case interface{ Unwrap() Store }:
			s = outer.Unwrap()
		default:
			var none T
			return none, false
		}
	}
}
