/** A thread that digests share files. */
import { serveRequests } from '../env/index.ts';
import { digestOf } from './share-digester.ts';

serveRequests(() => digestOf);
