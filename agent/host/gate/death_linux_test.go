package gate

func beKilled(dir string) error { return nil }
