# Functions for bootstrap.sh.

greet() {
    echo "Hello, $1!"
}

fail() {
    return 1
}

log() {
    echo "the event is $1" >&2
    echo "$1"
}
