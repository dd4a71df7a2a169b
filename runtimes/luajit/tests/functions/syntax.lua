return {
  handle = function( return 1 end
}
