local function fail() error { type = "Function.NoTable", message = "there is no table" } end
fail()
