package boltstore

// OnStep has fn called after each step of a rotation.
func (s *Store) OnStep(fn func(what string)) { s.step = fn }
