// The function for the vectors in `conformance/`, with the abilities that aws-lambda-ric has.

if (process.env.CONFORMANCE_START === 'fail') {
  throw new Error('it was to fail');
}

export async function handler(event) {
  switch (event?.do) {
    case 'panic':
      throw new Error(event.message);
    case 'fail': {
      const error = new Error(event.message.repeat(event.times ?? 1));
      // aws-lambda-ric reports the name of the error as its type.
      error.name = event.type;
      throw error;
    }
    default:
      return event;
  }
}
