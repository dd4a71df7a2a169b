print("half a line before the end")
os.exit(3)
