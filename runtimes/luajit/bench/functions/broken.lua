-- A file that does not compile.
local function handle(
