return { handle = function() return require("values").number end }
