// The thread of a fuzz target: tsx does not reach into threads by itself.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
