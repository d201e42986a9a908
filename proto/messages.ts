/** The generated messages, with int64 as numbers. The only door to `gen/`. */
import './numbers.ts';

export { covey } from './gen/covey.js';
