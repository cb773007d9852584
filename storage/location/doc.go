// Package location opens the store that a URL names.
//
// Invariant: a location never holds a secret. A URL with a user or password
// in it is refused and not repeated in the error, because locations are
// printed, logged and written into manifests.
//
//	/var/backups/redis                     a folder
//	backups                                a folder, below the current one
//	file:///var/backups/redis?name=local   a folder, and what to call it
//	s3://bucket/prefix?region=eu-west-1    a bucket
//	s3://bucket/prefix?endpoint=https://minio.example:9000&profile=backup
//
// Parameters of s3: region, endpoint, path_style (true or false; true by
// default where there is an endpoint), profile, ca, sse with
// kms_key_id, storage_class, lock with or without lock_for, as_of, name. Of file: name.
package location
