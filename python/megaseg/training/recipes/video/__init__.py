"""Scene models of films: raw features of shots in several feature spaces, views of them, ensembles by held-out film."""
