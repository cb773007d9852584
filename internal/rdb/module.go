package rdb

// skipModule consumes a module's value: the module's id, then values that say
// what they are, so that a dump can be read without the module.
func (r *Reader) skipModule() error {
	id, err := r.in.number()
	if err != nil {
		return err
	}
	r.rec.Name = r.keepModuleName(id)
	return r.skipModuleValues()
}

func (r *Reader) keepModuleName(id uint64) []byte {
	r.name = appendModuleName(r.name[:0], id)
	return r.name
}

func (r *Reader) skipModuleValues() error {
	for {
		at := r.in.offset()
		code, err := r.in.number()
		if err != nil {
			return err
		}
		switch code {
		case moduleEOF:
			return nil
		case moduleSInt, moduleUInt:
			_, err = r.in.number()
		case moduleFloat:
			err = r.in.skip(4)
		case moduleDouble:
			err = r.in.skip(8)
		case moduleString:
			err = r.in.skipString()
		default:
			err = damage(CodeModule, at, "a module's value holds the unknown code %d", code)
		}
		if err != nil {
			return err
		}
	}
}

// readModuleAux reads data that a module keeps beside the keys.
func (r *Reader) readModuleAux() error {
	id, err := r.in.number()
	if err != nil {
		return err
	}
	at := r.in.offset()
	code, err := r.in.number()
	if err != nil {
		return err
	}
	if code != moduleUInt {
		return damage(CodeModule, at, "a module's data begins with code %d instead of its position", code)
	}
	if _, err := r.in.number(); err != nil { // before or after the keys
		return err
	}
	r.rec.Kind, r.rec.Name = KindModuleAux, r.keepModuleName(id)
	return r.skipModuleValues()
}

// skipKeyMeta passes the metadata modules attached to a key (Redis 8.6): per
// class its four-byte name and flags, then values that say what they are.
func (r *Reader) skipKeyMeta() error {
	at := r.in.offset()
	classes, err := r.in.number()
	if err != nil {
		return err
	}
	if classes == 0 || classes > maxKeyMetas {
		return damage(CodeModule, at, "a key carries metadata of %d classes", classes)
	}
	for range classes {
		if err := r.in.skip(4); err != nil {
			return err
		}
		if err := r.skipModuleValues(); err != nil {
			return err
		}
	}
	return nil
}

// appendModuleName writes the nine characters of a module type's id: six bits
// each, above ten bits of version (module.c, moduleTypeNameByID).
func appendModuleName(dst []byte, id uint64) []byte {
	const charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for shift := 58; shift >= 10; shift -= 6 {
		dst = append(dst, charset[id>>shift&63])
	}
	return dst
}
