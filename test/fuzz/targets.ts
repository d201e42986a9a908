/** Every fuzz target in TypeScript. */
import { dockerfiles } from './dockerfiles.ts';
import { documents } from './documents.ts';
import { layers } from './layers.ts';
import { references } from './references.ts';
import type { Target } from './target.ts';
import { unpacking } from './unpacking.ts';

export const TARGETS: readonly Target[] = [layers, unpacking, documents, references, dockerfiles];
