/** Makes int64 plain numbers. Must be evaluated before generated code; `messages.ts` sees to that. */
import protobuf from 'protobufjs/minimal.js';

// With a Long implementation present, decoding yields Long objects whatever the generator was told.
(protobuf.util as { Long: unknown }).Long = undefined;
protobuf.configure();
