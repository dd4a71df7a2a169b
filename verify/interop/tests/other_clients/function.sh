# Functions for bootstrap.sh.

greet() {
    echo "Hello, $1!"
}

fail() {
    return 1
}
